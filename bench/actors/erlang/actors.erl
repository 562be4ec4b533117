%% The measurements of Erlang/OTP: gen_servers that do what the other systems' actors do.
%%
%% Prints seconds, or bytes of resident memory.
-module(actors).
-behaviour(gen_server).
-export([main/1]).
-export([init/1, handle_call/3, handle_cast/2]).

-define(PATIENCE, 60000).

%% A counter is its number, a link of the ring its successor with whoever waits for the token.
init(State) ->
    {ok, State}.

handle_call(get, _From, Count) ->
    {reply, Count, Count}.

handle_cast(add, Count) ->
    {noreply, Count + 1};
handle_cast(stop, State) ->
    {stop, normal, State};
handle_cast({close, First}, {link, _, Waiting}) ->
    {noreply, {link, First, Waiting}};
handle_cast({token, Left}, {link, Next, _} = State) when Left > 0 ->
    gen_server:cast(Next, {token, Left - 1}),
    {noreply, State};
handle_cast({token, 0}, {link, _, Waiting} = State) ->
    Waiting ! done,
    {noreply, State}.

main([Row, Count, Many]) ->
    io:format("~w~n", [measure(Row, list_to_integer(Count), list_to_integer(Many))]).

measure("tell-1", Count, _) ->
    tell(Count, counters(1));
measure("tell-1000", Count, Many) ->
    tell(Count, counters(Many));
measure("ask", Count, _) ->
    [Counter] = counters(1),
    seconds(fun() -> repeat(Count, fun() -> ask(Counter) end) end);
measure("spawn-stop", Count, _) ->
    seconds(fun() ->
        Counters = counters(Count),
        lists:foreach(fun(Counter) -> gen_server:cast(Counter, stop) end, Counters),
        lists:foreach(fun gone/1, Counters)
    end);
measure("ring-1000", Count, Many) ->
    Self = self(),
    {First, Last} = ring(Many, {link, none, Self}),
    gen_server:cast(Last, {close, First}),
    seconds(fun() ->
        gen_server:cast(First, {token, Count}),
        receive done -> ok end
    end);
measure("idle-memory", Count, _) ->
    Before = resident(),
    Counters = counters(Count),
    After = resident(),
    0 = ask(lists:last(Counters)),
    After - Before.

counters(Count) ->
    [started(0) || _ <- lists:seq(1, Count)].

started(State) ->
    {ok, Pid} = gen_server:start(?MODULE, State, []),
    Pid.

ask(Counter) ->
    gen_server:call(Counter, get, ?PATIENCE).

tell(Count, Counters) ->
    seconds(fun() ->
        cast(Count, Counters, Counters),
        Count = lists:sum([ask(Counter) || Counter <- Counters])
    end).

cast(0, _, _) ->
    ok;
cast(Count, [], All) ->
    cast(Count, All, All);
cast(Count, [Counter | Rest], All) ->
    gen_server:cast(Counter, add),
    cast(Count - 1, Rest, All).

%% The first and the last link; each knows the next.
ring(Many, State) ->
    Last = started(State),
    {link, _, Waiting} = State,
    Before = fun(_, Next) -> started({link, Next, Waiting}) end,
    {lists:foldl(Before, Last, lists:seq(2, Many)), Last}.

gone(Pid) ->
    case is_process_alive(Pid) of
        true ->
            erlang:yield(),
            gone(Pid);
        false ->
            ok
    end.

repeat(0, _) ->
    ok;
repeat(Count, Work) ->
    Work(),
    repeat(Count - 1, Work).

seconds(Work) ->
    Started = erlang:monotonic_time(),
    Work(),
    erlang:convert_time_unit(erlang:monotonic_time() - Started, native, nanosecond) / 1.0e9.

resident() ->
    {ok, Status} = file:read_file("/proc/" ++ os:getpid() ++ "/status"),
    {match, [Kilobytes]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kilobytes) * 1024.
