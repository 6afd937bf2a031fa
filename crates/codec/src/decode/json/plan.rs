//! Which paths a scanner looks for.

use std::ops::Range;

use crate::decode::Path;

/// The wanted paths as a tree of member names. Slot `i` is `paths[i]`; several slots may name the
/// same path, and one path may lead through another.
#[derive(Debug, Clone)]
pub struct Plan {
    nodes: Vec<Node>,
    value_of_slot: Vec<usize>,
    values_len: usize,
    /// The node whose other members a scanner notices; none has this number where nobody asks.
    watched: usize,
}

/// A member name on the way to a path's end. Values are numbered so that those below a node are a range.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    children: Vec<(Box<str>, usize)>,
    value: Option<usize>,
    values_below: Range<usize>,
}

impl Node {
    /// Names of the wanted members of this object, and their nodes.
    pub(super) fn children(&self) -> &[(Box<str>, usize)] {
        &self.children
    }

    /// The value to keep when a path ends here.
    pub(super) fn value(&self) -> Option<usize> {
        self.value
    }

    /// The values of all paths that lead through here.
    pub(super) fn values_below(&self) -> Range<usize> {
        self.values_below.clone()
    }
}

impl Plan {
    /// The node of the top-level object.
    pub(super) const ROOT: usize = 0;

    /// A plan for these paths.
    #[must_use]
    pub fn new(paths: &[Path]) -> Plan {
        let mut plan = Plan {
            nodes: vec![Node::default()],
            value_of_slot: vec![],
            values_len: 0,
            watched: usize::MAX,
        };
        let ends: Vec<usize> = paths.iter().map(|path| plan.insert(path)).collect();
        let mut wanted = vec![false; plan.nodes.len()];
        ends.iter().for_each(|&node| wanted[node] = true);
        plan.number_values(Plan::ROOT, &wanted);
        plan.value_of_slot = ends
            .iter()
            .map(|&node| plan.nodes[node].value.expect("a path ends here"))
            .collect();
        plan
    }

    /// The same plan, whose scanners also notice whether the object at the end of `path` has members
    /// that no path leads to ([`super::Fields::has_others`]).
    #[must_use]
    pub fn watching(mut self, path: Option<&Path>) -> Plan {
        self.watched = path.map_or(Plan::ROOT, |path| self.insert(path));
        self
    }

    /// The node whose other members are noticed.
    pub(super) fn watched(&self) -> usize {
        self.watched
    }

    fn insert(&mut self, path: &Path) -> usize {
        path.names().fold(Plan::ROOT, |node, name| {
            let known = self.nodes[node]
                .children
                .iter()
                .find(|(child, _)| **child == *name);
            if let Some(&(_, child)) = known {
                return child;
            }
            let child = self.nodes.len();
            self.nodes.push(Node::default());
            self.nodes[node].children.push((name.into(), child));
            child
        })
    }

    /// Depth first, so that the values below a node are consecutive. As deep as the longest path.
    fn number_values(&mut self, node: usize, wanted: &[bool]) {
        if wanted[node] {
            self.nodes[node].value = Some(self.values_len);
            self.values_len += 1;
        }
        let first_below = self.values_len;
        for child in self.nodes[node]
            .children
            .iter()
            .map(|&(_, child)| child)
            .collect::<Vec<_>>()
        {
            self.number_values(child, wanted);
        }
        self.nodes[node].values_below = first_below..self.values_len;
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Number of distinct paths.
    pub(super) fn values_len(&self) -> usize {
        self.values_len
    }

    /// For each slot the number of its value.
    pub(super) fn value_of_slot(&self) -> &[usize] {
        &self.value_of_slot
    }
}
