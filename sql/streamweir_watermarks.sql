-- How far named watermarks are, [watermark."name"] with a table. One row a move; the largest counts:
-- SELECT name, max(watermark) FROM streamweir_watermarks GROUP BY name
-- It does not fall when offsets are set back: delete the rows of the name then.
-- `streamweir schema apply` runs this statement in the database of the first pipeline that is named.

CREATE TABLE IF NOT EXISTS streamweir_watermarks
(
    name String,
    -- Everything before this event time is written, in every pipeline of the name.
    watermark DateTime64(3, 'UTC'),
    updated_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = ReplacingMergeTree(watermark)
ORDER BY name;
