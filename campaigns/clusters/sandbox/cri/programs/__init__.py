"""The programs of the built-in images: one file each, with `main(arguments)`."""
