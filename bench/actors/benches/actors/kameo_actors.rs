//! The measurements of kameo, with the bounded mailboxes that it spawns by default, of the size of ours.

use std::sync::Arc;
use std::time::Instant;

use kameo::Actor;
use kameo::actor::{ActorRef, Spawn};
use kameo::mailbox;
use kameo::message::{Context, Message};
use tokio::sync::Notify;

use crate::{ASKS, IDLE, MANY, PATIENCE, ROUNDS_OF_THE_RING, SPAWNS, TELLS, resident};

const MAILBOX: usize = 1024;

#[derive(Actor)]
struct Counter {
    count: u64,
}

struct Add;
struct Get;

impl Message<Add> for Counter {
    type Reply = ();

    async fn handle(&mut self, _message: Add, _ctx: &mut Context<Self, ()>) {
        self.count += 1;
    }
}

impl Message<Get> for Counter {
    type Reply = u64;

    async fn handle(&mut self, _message: Get, _ctx: &mut Context<Self, u64>) -> u64 {
        self.count
    }
}

#[derive(Actor)]
struct Link {
    next: Option<ActorRef<Link>>,
    done: Arc<Notify>,
}

struct Token(u64);
struct Close(ActorRef<Link>);

impl Message<Token> for Link {
    type Reply = ();

    async fn handle(&mut self, Token(left): Token, _ctx: &mut Context<Self, ()>) {
        match &self.next {
            Some(next) if left > 0 => next.tell(Token(left - 1)).await.unwrap(),
            _ => self.done.notify_one(),
        }
    }
}

impl Message<Close> for Link {
    type Reply = ();

    async fn handle(&mut self, Close(first): Close, _ctx: &mut Context<Self, ()>) {
        self.next = Some(first);
    }
}

async fn counters(count: usize) -> Vec<ActorRef<Counter>> {
    let mut actors = Vec::with_capacity(count);
    for _ in 0..count {
        let actor = Counter::spawn_with_mailbox(Counter { count: 0 }, mailbox::bounded(MAILBOX));
        actor.wait_for_startup().await;
        actors.push(actor);
    }
    actors
}

async fn get(actor: &ActorRef<Counter>) -> u64 {
    actor.ask(Get).reply_timeout(PATIENCE).await.unwrap()
}

pub async fn measure(row: String) -> f64 {
    match row.as_str() {
        "tell-1" => tell(1).await,
        "tell-1000" => tell(MANY).await,
        "ask" => {
            let actor = counters(1).await.remove(0);
            let started = Instant::now();
            for _ in 0..ASKS {
                get(&actor).await;
            }
            started.elapsed().as_secs_f64()
        }
        "spawn-stop" => {
            let started = Instant::now();
            let actors = counters(SPAWNS).await;
            for actor in &actors {
                actor.stop_gracefully().await.unwrap();
            }
            for actor in &actors {
                actor.wait_for_shutdown().await;
            }
            started.elapsed().as_secs_f64()
        }
        "ring-1000" => {
            let done = Arc::new(Notify::new());
            let (mut next, mut last) = (None, None);
            for _ in 0..MANY {
                let actor = Link::spawn_with_mailbox(Link { next, done: done.clone() }, mailbox::bounded(MAILBOX));
                actor.wait_for_startup().await;
                last.get_or_insert_with(|| actor.clone());
                next = Some(actor);
            }
            let (first, last) = (next.unwrap(), last.unwrap());
            last.tell(Close(first.clone())).await.unwrap();
            let started = Instant::now();
            first.tell(Token((MANY * ROUNDS_OF_THE_RING) as u64)).await.unwrap();
            done.notified().await;
            started.elapsed().as_secs_f64()
        }
        _ => {
            let before = resident();
            let actors = counters(IDLE).await;
            let after = resident();
            assert_eq!(get(&actors[IDLE - 1]).await, 0);
            after - before
        }
    }
}

async fn tell(receivers: usize) -> f64 {
    let actors = counters(receivers).await;
    let started = Instant::now();
    for index in 0..TELLS {
        actors[index % receivers].tell(Add).await.unwrap();
    }
    let mut total = 0;
    for actor in &actors {
        total += get(actor).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert_eq!(total, TELLS as u64);
    took
}
