//! A service of one's own, provided by name: `NAME_SERVER=127.0.0.1:9090 greeting_server`.
use common::directory::Names;
use common::names::Sharing;
use tarpc::context::Context;

#[tarpc::service]
trait Greeting {
    async fn greet(name: String) -> String;
}

#[derive(Clone)]
struct Greeter;

impl Greeting for Greeter {
    async fn greet(self, _: Context, name: String) -> String {
        format!("Hello, {name}")
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut host = Names::from_env()?.host("127.0.0.1:0").await?;
    host.serve("greeting".parse()?, Sharing::Shared, Greeter.serve()).await?;
    Ok(host.until_signalled().await?) // drains, gives its name back, returns
}
