"""Reading tf.Examples."""
