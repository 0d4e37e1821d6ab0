//! The laws of [`super::StateMachine`].
