//! Two providers of one shared name, and a caller who notices nothing when one of them dies:
//!
//! ```text
//! calculator serve & calculator serve &
//! calculator sum 100000        # kill one of the two meanwhile
//! ```

use common::directory::{Names, Repeat};
use common::names::Sharing;
use tarpc::context::{self, Context};

/// Adds.
#[tarpc::service]
pub trait Calculator {
    /// The sum; `None` when it no longer fits.
    async fn add(a: u64, b: u64) -> Option<u64>;
    /// Which process it is.
    async fn who() -> u32;
}

#[derive(Clone)]
struct Abacus;

impl Calculator for Abacus {
    async fn add(self, _: Context, a: u64, b: u64) -> Option<u64> {
        a.checked_add(b)
    }

    async fn who(self, _: Context) -> u32 {
        std::process::id()
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names = Names::from_env()?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => {
            let mut host = names.host("127.0.0.1:0").await?;
            host.serve("calculator".parse()?, Sharing::Shared, Abacus.serve()).await?;
            println!("calculator ready address={}", host.address());
            host.until_signalled().await?;
        }
        ["sum", upto] => {
            // A sum may be asked for twice: nothing comes of it but the sum.
            let provider = names.client("calculator".parse()?).repeat(Repeat::Always);
            let calculator = CalculatorClient::from(provider);
            let mut sum = 0;
            for n in 1..=upto.parse()? {
                let added = calculator.add(context::current(), sum, n).await?;
                sum = added.ok_or_else(|| anyhow::anyhow!("the sum of 1 to {n} does not fit"))?;
            }
            println!("{sum}");
        }
        _ => anyhow::bail!("calculator serve | calculator sum N"),
    }
    Ok(())
}
