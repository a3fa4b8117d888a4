// Tests of this tier.
