"""The tests mirror the source; beside them stand a message driver, a scripted provider and real servers."""
