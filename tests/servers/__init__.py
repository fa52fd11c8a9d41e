"""Real MySQL and MariaDB servers for tests, benchmarks and the demo.

install.py puts the servers on the machine, process.py runs one child in a temp dir of its own, database.py is what both
servers have in common, mariadb.py and mysql.py are what sets them apart. selected.py shows a table as SELECT does.
"""
