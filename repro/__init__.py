"""Running a reproduction: data, training, records and the command line."""
