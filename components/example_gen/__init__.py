"""ExampleGen: raw files to split, cleaned tf.Examples."""
