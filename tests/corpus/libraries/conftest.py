"""The scripts here run in environments of their own, with libraries that are not in this one."""

collect_ignore_glob = ["*.py"]
