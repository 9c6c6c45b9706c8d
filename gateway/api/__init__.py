"""The management API: what was recorded, for those who may see it; users and keys, for admins.

    operations.py   THE table of routes: method, path, parameters, who may, what comes back
    records.py      what each route does:         accounts.py   users and keys
                    what was recorded             provider_keys.py  the caller's own provider keys
    parameters.py   query and body as structs     search.py     the `q` parameter
    app.py          the ASGI application          openapi.py    its description, made of the same table
    resources.py    a table of operations as an application, for other APIs as well

It stands behind the errors, telemetry and auth layers of the data plane, so tokens and errors are the same.
"""
