//! What happens to the database itself in the course of a workload, each thing once.

use super::Dialect;
use super::table::{Column, Kind, PRODUCTS};

/// Statements, and the columns of `products` afterwards.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) statements: Vec<&'static str>,
    pub(super) products: Vec<Column>,
}

/// Every row has to be written again for a replica to learn of a column's new name, or of the
/// value that a default gave to old rows: the log has nothing of either.
const REWRITE: &str = "UPDATE products SET stock = stock + 1";

pub(super) fn steps(dialect: Dialect, evolve: bool, defaults: bool) -> Vec<Step> {
    match dialect {
        Dialect::Postgres if evolve => evolution(defaults),
        Dialect::Postgres => Vec::new(),
        Dialect::MariaDb => vec![
            Step {
                statements: vec!["FLUSH BINARY LOGS"],
                products: PRODUCTS.to_vec(),
            };
            2
        ],
    }
}

fn evolution(defaults: bool) -> Vec<Step> {
    let mut products = PRODUCTS.to_vec();
    let mut steps = Vec::new();
    let mut step = |products: &[Column], statement, rewrite: bool| {
        let rewrite = rewrite.then_some(REWRITE);
        steps.push(Step {
            statements: [statement].into_iter().chain(rewrite).collect(),
            products: products.to_vec(),
        });
    };
    let added = |name, kind| Column { name, kind };

    products.push(added("colour", Kind::Text));
    step(
        &products,
        "ALTER TABLE products ADD COLUMN colour text",
        false,
    );
    products.push(added("origin", Kind::Text));
    step(
        &products,
        match defaults {
            true => "ALTER TABLE products ADD COLUMN origin text DEFAULT 'unknown'",
            false => "ALTER TABLE products ADD COLUMN origin text",
        },
        true,
    );
    products.retain(|column| column.name != "weight");
    step(&products, "ALTER TABLE products DROP COLUMN weight", false);
    products.retain(|column| column.name != "remark");
    products.push(added("comment", Kind::Text));
    step(
        &products,
        "ALTER TABLE products RENAME COLUMN remark TO comment",
        true,
    );
    steps
}
