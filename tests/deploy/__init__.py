"""What is in `deploy/`, checked by the tools that know its formats, and against the code that it speaks of.

What needs Python alone runs with all tests. What needs a tool runs in `make deploy-check`, which installs the tools
first (`tests.deploy.tools`), and is skipped with a sentence elsewhere.
"""
