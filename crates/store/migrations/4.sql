-- The revision that has a share of a function's calls: one of `revisions`. All three or none.
ALTER TABLE functions ADD COLUMN canary INTEGER;          -- its number
ALTER TABLE functions ADD COLUMN canary_share INTEGER;    -- of the calls, in hundredths of a percent
ALTER TABLE functions ADD COLUMN canary_replicas INTEGER; -- wanted while it is awake
