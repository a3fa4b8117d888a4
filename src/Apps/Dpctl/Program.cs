Console.WriteLine("Dataplane");
