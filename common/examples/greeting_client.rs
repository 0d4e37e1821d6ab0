//! Calls it by name, wherever it is: `NAME_SERVER=127.0.0.1:9090 greeting_client Ann Bob`.
use common::directory::{Names, Repeat};

#[tarpc::service]
trait Greeting {
    async fn greet(name: String) -> String;
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let names = Names::from_env()?;
    let provider = names.client("greeting".parse()?);
    let greeting = GreetingClient::from(provider.repeat(Repeat::Always));
    for name in std::env::args().skip(1) {
        println!("{}", greeting.greet(tarpc::context::current(), name).await?);
    }
    Ok(())
}
