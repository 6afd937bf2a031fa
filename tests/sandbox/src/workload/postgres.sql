CREATE TABLE orders (
    order_id bigint PRIMARY KEY,
    user_id bigint NOT NULL,
    order_date timestamp NOT NULL,
    status varchar(32) NOT NULL,
    total_amount numeric(10, 2) NOT NULL,
    currency char(3) DEFAULT 'USD',
    payment_method varchar(50),
    shipping_address text,
    created_at timestamptz NOT NULL,
    updated_at timestamp(3) NOT NULL
);
CREATE TABLE order_items (
    item_id bigint PRIMARY KEY,
    order_id bigint NOT NULL,
    product_id bigint NOT NULL,
    quantity int NOT NULL,
    unit_price numeric(10, 2) NOT NULL,
    discount numeric(10, 2) DEFAULT 0.00,
    created_at timestamp NOT NULL,
    updated_at timestamp NOT NULL
);
CREATE TABLE documents (
    document_id bigint PRIMARY KEY,
    revision int NOT NULL,
    title varchar(80),
    body text,
    attributes jsonb,
    content bytea,
    tags text[]
);
ALTER TABLE documents
    ALTER body SET STORAGE EXTERNAL,
    ALTER attributes SET STORAGE EXTERNAL,
    ALTER content SET STORAGE EXTERNAL,
    ALTER tags SET STORAGE EXTERNAL;
CREATE TABLE accounts (
    region varchar(16),
    account bigint,
    day date,
    amount numeric(12, 2),
    note text,
    changed_at timestamp NOT NULL,
    PRIMARY KEY (region, account, day)
);
CREATE TABLE products (
    product_id bigint PRIMARY KEY,
    stock int NOT NULL,
    name text,
    price numeric(10, 2),
    remark text,
    weight int
);
