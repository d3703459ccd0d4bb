"""Starting the daemons of a lab as child processes, and finding those that run."""
