//! The Rust side of `wit/`, generated. Host functions that may wait are async; arguments of exports are borrowed.

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "actor",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: {
        "plexspaces:actor/messaging@0.1.0": async | trappable,
        "plexspaces:actor/key-value@0.1.0": async | trappable,
        "plexspaces:actor/lifecycle@0.1.0.spawn": async | trappable,
        "plexspaces:actor/lifecycle@0.1.0.stop": async | trappable,
        "plexspaces:actor/durability@0.1.0.sleep-until": async | trappable,
        "plexspaces:actor/http@0.1.0": async | trappable,
        "plexspaces:actor/blobs@0.1.0": async | trappable,
        "plexspaces:actor/services@0.1.0": async | trappable,
        "plexspaces:actor/timers@0.1.0": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
