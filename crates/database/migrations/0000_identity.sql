-- Whose data this is: chain, registry, member. A process that is somebody else refuses to open it.
CREATE TABLE identity (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
