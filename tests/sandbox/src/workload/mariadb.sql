CREATE TABLE orders (
    order_id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    order_date datetime NOT NULL,
    status varchar(32) NOT NULL,
    total_amount decimal(10, 2) NOT NULL,
    currency char(3) DEFAULT 'USD',
    payment_method varchar(50),
    shipping_address text,
    created_at datetime(6) NOT NULL,
    updated_at timestamp(6) NOT NULL
);
CREATE TABLE order_items (
    item_id bigint PRIMARY KEY,
    order_id bigint NOT NULL,
    product_id bigint NOT NULL,
    quantity int NOT NULL,
    unit_price decimal(10, 2) NOT NULL,
    discount decimal(10, 2) DEFAULT 0.00,
    created_at datetime(6) NOT NULL,
    updated_at datetime(6) NOT NULL
);
