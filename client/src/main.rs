//! The program `client`. All of it is in the library.

fn main() -> std::process::ExitCode {
    client::run::run(std::env::args_os())
}
