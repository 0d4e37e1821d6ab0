//! A value that copies of a world share until one of them changes it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The value; writing to it copies it first, if somebody shares it.
#[derive(Clone)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Shared with nobody yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// Whether neither has changed since one was copied from the other.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}
