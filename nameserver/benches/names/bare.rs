//! tarpc as it comes: its own server loop with a task per call, frames of tokio-util, bincode, nothing of ours.

use std::marker::PhantomData;
use std::time::Duration;

use common::clock::Clock;
use futures::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tarpc::context::{self, Context};
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::{ClientMessage, Response, client};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, Framed, LengthDelimitedCodec};

#[tarpc::service]
trait Echo {
    async fn echo(text: String) -> String;
}

#[derive(Clone)]
struct Echoes;

impl Echo for Echoes {
    async fn echo(self, _: Context, text: String) -> String {
        text
    }
}

struct Plain<In, Out>(LengthDelimitedCodec, PhantomData<fn(In) -> Out>);

impl<In, Out> Plain<In, Out> {
    fn over(socket: TcpStream) -> Framed<TcpStream, Self> {
        socket.set_nodelay(true).unwrap();
        Framed::new(socket, Self(LengthDelimitedCodec::new(), PhantomData))
    }
}

impl<In: DeserializeOwned, Out> Decoder for Plain<In, Out> {
    type Item = In;
    type Error = std::io::Error;

    fn decode(&mut self, from: &mut BytesMut) -> std::io::Result<Option<In>> {
        let Some(frame) = self.0.decode(from)? else { return Ok(None) };
        let (message, _) = bincode::serde::decode_from_slice(&frame, bincode::config::standard()).unwrap();
        Ok(Some(message))
    }
}

impl<In, Out: Serialize> Encoder<Out> for Plain<In, Out> {
    type Error = std::io::Error;

    fn encode(&mut self, message: Out, into: &mut BytesMut) -> std::io::Result<()> {
        let bytes = bincode::serde::encode_to_vec(message, bincode::config::standard()).unwrap();
        self.0.encode(Bytes::from(bytes), into)
    }
}

/// The p50 of an echo, one after another.
pub(super) async fn echo(clock: Clock) -> Duration {
    let (told, address) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().await.unwrap();
            let transport = Plain::<ClientMessage<EchoRequest>, Response<EchoResponse>>::over(socket);
            BaseChannel::with_defaults(transport)
                .execute(Echoes.serve())
                .for_each(|answer| async move { drop(tokio::spawn(answer)) })
                .await;
        });
    });
    let socket = TcpStream::connect(address.await.unwrap()).await.unwrap();
    let transport = Plain::<Response<EchoResponse>, ClientMessage<EchoRequest>>::over(socket);
    let echo = EchoClient::new(client::Config::default(), transport).spawn();
    let (p50, _) = super::sequential(clock, async || {
        let text = "service00042.1".to_owned();
        assert!(echo.echo(context::current(), text).await.is_ok());
    })
    .await;
    p50
}
