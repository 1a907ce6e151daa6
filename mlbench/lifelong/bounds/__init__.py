"""Where methods are measured between: fine-tuning, a frozen network, all data at once."""
