//! Rules that can be broken by name, so that the tests can be tested: each must be found out. In a shipped binary
//! `Planted` holds nothing and says no to every question, so that none of it is left.

pub mod gossip;
pub mod passive;

/// No fault has that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no fault is called {name}")]
pub struct UnknownFault {
    /// What was asked for.
    pub name: String,
}

/// Makes `Fault`, the rules of one engine, and `Planted`, those that a replica does not keep.
macro_rules! faults {
    (
        must_be_found { $($(#[$found_doc:meta])+ $found:ident,)+ }
        harmless { $($(#[$harmless_doc:meta])+ $harmless:ident,)+ }
    ) => {
        /// A rule that is not kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault {
            $($(#[$found_doc])+ $found,)+
            $($(#[$harmless_doc])+ $harmless,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$found,)+ $(Self::$harmless,)+];

            /// Whether it breaks a rule that safety needs, so that the tests must find it.
            pub const fn must_be_found(self) -> bool {
                matches!(self, $(Self::$found)|+)
            }
        }

        impl std::fmt::Display for Fault {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&format!("{self:?}"))
            }
        }

        impl std::str::FromStr for Fault {
            type Err = super::UnknownFault;

            fn from_str(name: &str) -> Result<Self, super::UnknownFault> {
                let found = Self::ALL.iter().copied().find(|fault| fault.to_string() == name);
                found.ok_or_else(|| super::UnknownFault { name: name.to_owned() })
            }
        }

        /// The rules that a replica does not keep.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Planted {
            #[cfg(feature = "planted")]
            faults: u64,
        }

        impl Planted {
            /// Whether this rule is broken.
            #[cfg(feature = "planted")]
            pub const fn is(self, fault: Fault) -> bool {
                self.faults & (1 << fault as u32) != 0
            }

            /// Whether this rule is broken: never, here.
            #[cfg(not(feature = "planted"))]
            pub const fn is(self, _: Fault) -> bool {
                false
            }

            /// Breaks this rule, too.
            #[cfg(feature = "planted")]
            #[must_use]
            pub const fn with(self, fault: Fault) -> Self {
                Self { faults: self.faults | 1 << fault as u32 }
            }
        }

        // Each has a bit.
        const _: () = assert!(Fault::ALL.len() <= u64::BITS as usize);
    };
}
use faults;

#[cfg(test)]
mod tests {
    use super::passive::{Fault, Planted};

    #[test]
    fn a_fault_is_found_by_its_name() {
        for fault in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(*fault));
        }
        assert!("NoFench".parse::<Fault>().is_err());
        assert!(Fault::NoFence.must_be_found() && !Fault::NoDrain.must_be_found());
    }

    #[cfg(feature = "planted")]
    #[test]
    fn only_what_is_planted_is_broken() {
        let planted = Planted::default().with(Fault::NoFence).with(Fault::NoDrain);
        let broken: Vec<_> = Fault::ALL.iter().copied().filter(|&fault| planted.is(fault)).collect();
        assert_eq!(broken, [Fault::NoFence, Fault::NoDrain]);
        assert!(!Planted::default().is(Fault::NoFence));
    }

    #[cfg(not(feature = "planted"))]
    #[test]
    fn nothing_of_it_is_left_without_the_feature() {
        assert_eq!(size_of::<Planted>(), 0);
        assert!(!Fault::ALL.iter().any(|&fault| Planted::default().is(fault)));
    }
}
