namespace Dataplane;

/// <summary>
/// The pending timers of one lcore: a binary heap by expiry, each timer knowing its slot. A spin lock, held for one
/// sift,
/// orders the threads that start and stop timers; the lcore itself takes it only when something is due, and then never
/// waits for it.
/// </summary>
/// <remarks>
/// L0 Interlocked.CompareExchange(_locked) in Lock and TryLock pairs with L1 Volatile.Write(_locked) in Unlock.
/// </remarks>
internal sealed class TimerHeap(int lcoreId)
{
    private LcoreTimer[] _slots = [];
    private int _count;
    private int _locked;
    private ulong _earliest = ulong.MaxValue;   // expiry of slot 0; read without the lock

    internal int LcoreId { get; } = lcoreId;

    /// <summary>The timer whose callback runs now on this lcore, or null. Touched by that lcore only.</summary>
    internal LcoreTimer? Running { get; set; }

    internal ulong Earliest => Volatile.Read(ref _earliest);

    /// <summary>Makes room. Control path.</summary>
    internal void Reserve(int capacity)
    {
        if (_slots.Length >= capacity)
            return;
        var larger = new LcoreTimer[Math.Max(capacity, _slots.Length * 2)];
        Lock();
        Array.Copy(_slots, larger, _count);
        _slots = larger;
        Unlock();
    }

    /// <summary>Adds a timer that its caller owns; pending from then on.</summary>
    internal void AddAndPublish(LcoreTimer timer)
    {
        Lock();
        _count++;
        SiftUp(timer, _count - 1);
        timer.SetState(TimerState.Pending);
        Unlock();
    }

    /// <summary>Takes a timer out, if it is in.</summary>
    internal void Remove(LcoreTimer timer)
    {
        Lock();
        if (timer.HeapIndex >= 0)
            RemoveAt(timer.HeapIndex);
        Unlock();
    }

    /// <summary>
    /// Takes the first timer out if it is due, and marks it running. Null: none, or the lock is held.
    /// </summary>
    internal LcoreTimer? TryTakeDue(ulong now)
    {
        if (Interlocked.CompareExchange(ref _locked, 1, 0) != 0)
            return null;
        LcoreTimer? due = _count > 0 && _slots[0].ExpiryTsc <= now ? _slots[0] : null;
        if (due != null && !due.TryBeginRun())
            due = null;   // its new owner waits for this lock to take it out
        if (due != null)
            RemoveAt(0);
        Unlock();
        return due;
    }

    private void RemoveAt(int index)
    {
        _slots[index].HeapIndex = -1;
        LcoreTimer last = _slots[--_count];
        _slots[_count] = null!;
        if (index < _count)
        {
            SiftDown(last, index);
            SiftUp(last, last.HeapIndex);
        }
        else
            Publish();
    }

    private void SiftUp(LcoreTimer timer, int index)
    {
        while (index > 0 && timer.ExpiryTsc < _slots[(index - 1) / 2].ExpiryTsc)
        {
            Put(_slots[(index - 1) / 2], index);
            index = (index - 1) / 2;
        }
        Put(timer, index);
        Publish();
    }

    private void SiftDown(LcoreTimer timer, int index)
    {
        while (2 * index + 1 < _count)
        {
            int child = 2 * index + 1;
            if (child + 1 < _count && _slots[child + 1].ExpiryTsc < _slots[child].ExpiryTsc)
                child++;
            if (timer.ExpiryTsc <= _slots[child].ExpiryTsc)
                break;
            Put(_slots[child], index);
            index = child;
        }
        Put(timer, index);
    }

    private void Put(LcoreTimer timer, int index)
    {
        _slots[index] = timer;
        timer.HeapIndex = index;
    }

    private void Publish() => Volatile.Write(ref _earliest, _count == 0 ? ulong.MaxValue : _slots[0].ExpiryTsc);

    private void Lock()
    {
        var spin = new SpinWait();
        while (Interlocked.CompareExchange(ref _locked, 1, 0) != 0)
            spin.SpinOnce(sleep1Threshold: -1);
    }

    private void Unlock() => Volatile.Write(ref _locked, 0);
}
