"""What was recorded, read back: sessions, threads, interceptions.

The management API and the command line stand on it. It only reads, through the `Database` seam, in SQL that SQLite
and PostgreSQL both speak, and each of its queries finds its rows through an index however many there are.

    filters.py    which records are asked for
    strata.py     which combinations of provider, model and client there are
    walk.py       the order of pages, and the one query that makes them
    sessions.py   interceptions.py   session.py    the three views
    answers.py    what they return
"""
