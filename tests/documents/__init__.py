"""What stands in the documents, taken apart so that tests can hold it against the code and run it."""
