//! What both ends say before tarpc starts: 32 bytes and a text each way. A refusal is an answer, with a sentence.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::ids::ClusterId;
use crate::rpc::limits::Contract;

/// The first byte is not ASCII and the last a newline, so that damage by a text mode shows.
pub(super) const MAGIC: [u8; 4] = [0x8A, 0x4A, 0x48, 0x0A];
const LAYOUT: u8 = 1;
const HEAD: usize = 32;
const NAME_MAX: usize = 64;
/// Bytes of a verdict's sentence.
const TEXT_MAX: usize = 512;

/// The answer to a preamble; append-only, the place is the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Verdict {
    Welcome,
    Magic,
    Preamble,
    Version,
    Contract,
    Cluster,
    Full,
    Draining,
    TlsRequired,
    Forbidden,
}

impl Verdict {
    pub(super) const ALL: [Self; 10] = [
        Self::Welcome,
        Self::Magic,
        Self::Preamble,
        Self::Version,
        Self::Contract,
        Self::Cluster,
        Self::Full,
        Self::Draining,
        Self::TlsRequired,
        Self::Forbidden,
    ];
}

/// What a client states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) contract: String,
    pub(super) lowest: u16,
    pub(super) highest: u16,
    pub(super) cluster: ClusterId,
}

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// 0 when refused.
    pub(super) chosen: u16,
    pub(super) lowest: u16,
    pub(super) highest: u16,
    pub(super) cluster: ClusterId,
    /// Empty when welcome.
    pub(super) text: String,
}

/// Why a client got no welcome.
#[derive(Debug)]
pub(super) enum Unwelcome {
    /// The connection failed, or what came is no answer of ours.
    Io(io::Error),
    /// The server said so.
    Refused(Answer),
}

impl Ask {
    pub(super) fn new(contract: Contract, cluster: ClusterId) -> Self {
        Self {
            contract: contract.name.to_owned(),
            lowest: contract.lowest,
            highest: contract.highest,
            cluster,
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let name = u8::try_from(self.contract.len()).expect("a contract's name has at most 64 bytes");
        let mut bytes = Vec::with_capacity(HEAD + self.contract.len());
        bytes.extend(MAGIC);
        bytes.extend([LAYOUT, name]);
        bytes.extend(self.lowest.to_be_bytes());
        bytes.extend(self.highest.to_be_bytes());
        bytes.extend([0; 2]); // flags
        bytes.extend(self.cluster.to_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.contract.as_bytes());
        bytes
    }

    /// Reads what follows the magic. The inner error is a sentence for the verdict `Preamble`.
    ///
    /// # Errors
    /// When the connection fails or ends.
    pub(super) async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Result<Self, &'static str>> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head[MAGIC.len()..]).await?;
        let length = usize::from(head[5]);
        if head[4] != LAYOUT {
            return Ok(Err("only layout 1 of the preamble is known here"));
        }
        if !(1..=NAME_MAX).contains(&length) {
            return Ok(Err("a contract's name has 1 to 64 bytes"));
        }
        if head[10..12] != [0; 2] || head[28..32] != [0; 4] {
            return Ok(Err("reserved bits are set in the preamble"));
        }
        let mut name = [0; NAME_MAX];
        let name = &mut name[..length];
        from.read_exact(name).await?;
        let good = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-');
        if !name.iter().all(good) {
            return Ok(Err("a contract's name is made of a to z, 0 to 9, dot and hyphen"));
        }
        let (lowest, highest) = (two(&head, 6), two(&head, 8));
        if lowest == 0 || lowest > highest {
            return Ok(Err("the lowest version stated is 0 or above the highest"));
        }
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&head[12..28]);
        let contract = String::from_utf8_lossy(name).into_owned();
        Ok(Ok(Self { contract, lowest, highest, cluster: ClusterId::from_bytes(cluster) }))
    }
}

impl Answer {
    fn to_bytes(&self) -> Vec<u8> {
        let text = &self.text[..self.text.floor_char_boundary(TEXT_MAX)];
        let mut bytes = Vec::with_capacity(HEAD + text.len());
        bytes.extend(MAGIC);
        bytes.extend([self.verdict as u8, 0]);
        bytes.extend(self.chosen.to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(self.lowest.to_be_bytes());
        bytes.extend(self.cluster.to_bytes());
        bytes.extend(self.highest.to_be_bytes());
        bytes.extend(u16::try_from(text.len()).expect("cut to 512 just above").to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    pub(super) async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        to.write_all(&self.to_bytes()).await?;
        to.flush().await
    }

    /// Why a welcome does not fit what was asked for.
    pub(super) fn misfit(&self, ask: &Ask) -> Option<String> {
        let both_stated = self.cluster != ClusterId::UNSTATED && ask.cluster != ClusterId::UNSTATED;
        if both_stated && self.cluster != ask.cluster {
            return Some(format!("belongs to cluster {}, not {}", self.cluster, ask.cluster));
        }
        let spoken = ask.lowest..=ask.highest;
        (!spoken.contains(&self.chosen)).then(|| format!("chose version {} of {spoken:?}", self.chosen))
    }

    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut head = [0; HEAD];
        from.read_exact(&mut head).await?;
        // One that is newer than this program is a refusal all the same; the text says which.
        let verdict = Verdict::ALL.get(usize::from(head[4])).copied().unwrap_or(Verdict::Forbidden);
        let length = usize::from(two(&head, 30));
        if head[..4] != MAGIC || length > TEXT_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it speaks another protocol"));
        }
        let mut text = vec![0; length];
        from.read_exact(&mut text).await?;
        let mut cluster = [0; 16];
        cluster.copy_from_slice(&head[12..28]);
        // It is shown to a person: nothing that moves a cursor.
        let text = String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).collect();
        Ok(Self {
            verdict,
            chosen: two(&head, 6),
            lowest: two(&head, 10),
            highest: two(&head, 28),
            cluster: ClusterId::from_bytes(cluster),
            text,
        })
    }
}

/// A client's side: states `ask`, waits for the verdict.
pub(super) async fn introduce<Io>(io: &mut Io, ask: &Ask) -> Result<Answer, Unwelcome>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    // A server that is full answers without reading, and may have closed its end already: what it said still counts.
    let sent = io.write_all(&ask.to_bytes()).await;
    match Answer::read(io).await {
        Ok(answer) if answer.verdict != Verdict::Welcome => Err(Unwelcome::Refused(answer)),
        Ok(answer) => sent.map(|()| answer).map_err(Unwelcome::Io),
        Err(error) => Err(Unwelcome::Io(sent.err().unwrap_or(error))),
    }
}

fn two(head: &[u8; HEAD], at: usize) -> u16 {
    u16::from_be_bytes([head[at], head[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::limits::REPLICA;

    fn cluster() -> ClusterId {
        "dev".parse().unwrap()
    }

    /// What a client says, after the magic that was read already.
    async fn read(bytes: &[u8]) -> io::Result<Result<Ask, &'static str>> {
        Ask::read(&mut &bytes[MAGIC.len()..]).await
    }

    #[tokio::test]
    async fn a_clients_preamble_has_these_bytes() {
        let ask = Ask::new(REPLICA, cluster());
        let golden =
            b"\x8A\x4A\x48\x0A\x01\x07\x00\x01\x00\x01\x00\x00dev\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0replica";
        assert_eq!(ask.to_bytes(), golden);
        assert_eq!(read(golden).await.unwrap(), Ok(ask));
    }

    #[tokio::test]
    async fn a_servers_preamble_has_these_bytes() {
        let text = "no".to_owned();
        let answer =
            Answer { verdict: Verdict::Version, chosen: 0, lowest: 2, highest: 3, cluster: cluster(), text };
        let golden = b"\x8A\x4A\x48\x0A\x03\0\0\0\0\0\0\x02dev\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x03\0\x02no";
        assert_eq!(answer.to_bytes(), golden);
        assert_eq!(Answer::read(&mut &golden[..]).await.unwrap(), answer);
    }

    #[tokio::test]
    async fn every_damaged_byte_of_the_head_is_refused_or_seen() {
        let golden = Ask::new(REPLICA, cluster()).to_bytes();
        for at in MAGIC.len()..golden.len() {
            let mut bytes = golden.clone();
            bytes[at] ^= 0x80;
            let heard = read(&bytes).await;
            assert!(!matches!(heard, Ok(Ok(ask)) if ask == Ask::new(REPLICA, cluster())), "byte {at}");
        }
        for end in MAGIC.len()..golden.len() {
            assert!(read(&golden[..end]).await.is_err(), "cut at {end}");
        }
    }

    #[tokio::test]
    async fn a_sentence_cannot_move_a_persons_cursor_and_is_cut_to_its_bound() {
        let text = format!("\x1b[2J{}", "\u{e4}".repeat(600));
        let said =
            Answer { verdict: Verdict::Full, chosen: 0, lowest: 0, highest: 0, cluster: cluster(), text };
        let heard = Answer::read(&mut &said.to_bytes()[..]).await.unwrap();
        assert!(heard.text.starts_with("[2J\u{e4}") && heard.text.len() <= TEXT_MAX, "{:?}", heard.text);
    }
}
