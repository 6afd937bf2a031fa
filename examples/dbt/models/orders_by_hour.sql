{{ config(materialized='incremental', unique_key='hour') }}

with complete as (
    select max(watermark) as before
    from {{ source('streamweir', 'streamweir_watermarks') }}
    where name = 'orders_complete'
)

select toStartOfHour(created_at) as hour, count() as orders
from {{ source('streamweir', 'orders') }}
where created_at < (select toStartOfHour(before) from complete)
{% if is_incremental() %}
  and created_at >= (select max(hour) from {{ this }})
{% endif %}
group by hour
