"""Lower and upper bounds for the other methods: fine-tuning, a frozen network, all data at once."""
