// The acts of a play, for both generations of the TypeScript SDK: what differs between them comes as `troupe`.
//
// In: the play as JSON on the command line. Out: a report as JSON on standard output.

export const play = JSON.parse(process.argv[2]);

/** `client`; `call(params, options)`; `subscribe()` where the era has subscriptions. `asked` and `told` fill up meanwhile. */
export async function perform({ client, call, subscribe, asked, told }) {
    const acts = {
        async call({ tool, arguments: given }) {
            const progress = [];
            const result = await call({ name: tool, arguments: given }, { onprogress: (step) => progress.push(step.progress) });
            return { text: textOf(result), progress };
        },
        async nod({ tool, arguments: given }) {
            const progress = [], nods = [];
            const onprogress = (step) => {
                progress.push(step.progress);
                nods.push(call({ name: "nod", arguments: { step: step.progress } }));
            };
            const result = await call({ name: tool, arguments: given }, { onprogress });
            await Promise.all(nods);
            return { text: textOf(result), progress };
        },
        async cancel({ tool, arguments: given }) {
            const abort = new AbortController();
            const options = { signal: abort.signal, onprogress: () => abort.abort("enough") };
            const outcome = await call({ name: tool, arguments: given }, options).then(textOf, () => "cancelled");
            return { text: outcome };
        },
        async hear({ tool }) {
            const subscription = await subscribe?.();
            const result = await call({ name: tool, arguments: {} });
            await until(() => told.includes("notifications/tools/list_changed"));
            await subscription?.close();
            return { text: textOf(result), told: [...new Set(told)] };
        },
        async answer({ request }) {
            await until(() => asked.includes(request));
            return { asked: [...asked] };
        },
    };
    const { tools } = await client.listTools();
    const results = [];
    for (const act of play.acts) results.push(await acts[act.do](act));
    return { tools: tools.map((tool) => tool.name), results, asked };
}

export function report(found) {
    process.stdout.write(JSON.stringify(found));
}

/** The person in front of the client, who answers what a server asks. */
export const person = {
    "elicitation/create": () => ({ action: "accept", content: { name: "Ada", username: "Ada", email: "ada@example.org" } }),
    "sampling/createMessage": () => ({ role: "assistant", model: "none", content: { type: "text", text: "said by Ada" } }),
    "roots/list": () => ({ roots: [{ uri: "file:///home/ada", name: "home" }] }),
};
export const identity = { name: "player", version: "1.0.0" };
export const capabilities = { elicitation: {}, sampling: {}, roots: {} };

function textOf(result) {
    return result.content.map((block) => block.text ?? "").join("\n");
}

async function until(condition) {
    while (!condition()) await new Promise((resolve) => setTimeout(resolve, 10));
}
