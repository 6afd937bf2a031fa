//! The four pipelines of the shipped configuration in one process end as they should: a short run of the
//! fault programme, which `make soak` runs at length.

use crate::programme::short;

#[test]
fn the_shipped_pipelines_in_one_process_that_is_killed_end_as_they_should() {
    short("all-four");
}
