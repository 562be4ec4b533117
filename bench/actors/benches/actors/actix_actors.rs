//! The measurements of actix, whose actors share the caller's thread unless they are put elsewhere: here on an arbiter of their own for the
//! throughput of tells, so that both cores work as in the other systems, and on the caller's thread for the rest.

use std::sync::Arc;
use std::time::Instant;

use actix::prelude::*;
use tokio::sync::Notify;

use crate::{ASKS, IDLE, MANY, PATIENCE, ROUNDS_OF_THE_RING, SPAWNS, TELLS, resident};

struct Counter {
    count: u64,
}

impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Add;

#[derive(Message)]
#[rtype(result = "u64")]
struct Get;

#[derive(Message)]
#[rtype(result = "()")]
struct Stop;

impl Handler<Add> for Counter {
    type Result = ();

    fn handle(&mut self, _message: Add, _ctx: &mut Context<Self>) {
        self.count += 1;
    }
}

impl Handler<Get> for Counter {
    type Result = u64;

    fn handle(&mut self, _message: Get, _ctx: &mut Context<Self>) -> u64 {
        self.count
    }
}

impl Handler<Stop> for Counter {
    type Result = ();

    fn handle(&mut self, _message: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

struct Link {
    next: Option<Addr<Link>>,
    done: Arc<Notify>,
}

impl Actor for Link {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Token(u64);

#[derive(Message)]
#[rtype(result = "()")]
struct Close(Addr<Link>);

impl Handler<Token> for Link {
    type Result = ();

    fn handle(&mut self, Token(left): Token, _ctx: &mut Context<Self>) {
        match &self.next {
            Some(next) if left > 0 => next.do_send(Token(left - 1)),
            _ => self.done.notify_one(),
        }
    }
}

impl Handler<Close> for Link {
    type Result = ();

    fn handle(&mut self, Close(first): Close, _ctx: &mut Context<Self>) {
        self.next = Some(first);
    }
}

async fn get(actor: &Addr<Counter>) -> u64 {
    actor.send(Get).timeout(PATIENCE).await.unwrap()
}

pub fn measure(row: &str) -> f64 {
    System::new().block_on(run(row))
}

async fn run(row: &str) -> f64 {
    match row {
        "tell-1" => tell(1).await,
        "tell-1000" => tell(MANY).await,
        "ask" => {
            let actor = Counter { count: 0 }.start();
            let started = Instant::now();
            for _ in 0..ASKS {
                get(&actor).await;
            }
            started.elapsed().as_secs_f64()
        }
        "spawn-stop" => {
            let started = Instant::now();
            let actors: Vec<_> = (0..SPAWNS).map(|_| Counter { count: 0 }.start()).collect();
            for actor in &actors {
                actor.do_send(Stop);
            }
            for actor in &actors {
                while actor.connected() {
                    tokio::task::yield_now().await;
                }
            }
            started.elapsed().as_secs_f64()
        }
        "ring-1000" => {
            let done = Arc::new(Notify::new());
            let (mut next, mut last) = (None, None);
            for _ in 0..MANY {
                let actor = Link { next, done: done.clone() }.start();
                last.get_or_insert_with(|| actor.clone());
                next = Some(actor);
            }
            let (first, last) = (next.unwrap(), last.unwrap());
            last.send(Close(first.clone())).await.unwrap();
            let started = Instant::now();
            first.do_send(Token((MANY * ROUNDS_OF_THE_RING) as u64));
            done.notified().await;
            started.elapsed().as_secs_f64()
        }
        _ => {
            let before = resident();
            let actors: Vec<_> = (0..IDLE).map(|_| Counter { count: 0 }.start()).collect();
            assert_eq!(get(&actors[IDLE - 1]).await, 0);
            resident() - before
        }
    }
}

async fn tell(receivers: usize) -> f64 {
    let arbiter = Arbiter::new();
    let start = || Counter::start_in_arbiter(&arbiter.handle(), |_| Counter { count: 0 });
    let actors: Vec<_> = (0..receivers).map(|_| start()).collect();
    let started = Instant::now();
    for index in 0..TELLS {
        actors[index % receivers].do_send(Add);
    }
    let mut total = 0;
    for actor in &actors {
        total += get(actor).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert_eq!(total, TELLS as u64);
    took
}
