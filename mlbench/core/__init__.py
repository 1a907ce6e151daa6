"""Building blocks of all packages: objects from configs, atomic files, locks, random numbers, statistics, errors."""
