"""The loop: sources of change, the queue, the workers, and the hands that carry plans out."""
