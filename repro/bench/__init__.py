"""Our layers against stock Keras on the clock: training steps, single operators, and written-out forms that lost."""
