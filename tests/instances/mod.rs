//! Several instances on one PostgreSQL: what each is told, all answer, whatever breaks meanwhile.

mod failover;
mod fleet;
mod moving;
mod stream;
