"""What every room may use: configuration into objects, atomic files, locks, random numbers, statistics, errors."""
