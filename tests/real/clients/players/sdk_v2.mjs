// A play by `@modelcontextprotocol/client`, the second generation of the TypeScript SDK, which knows all eras.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

import { capabilities, identity, perform, person, play, report } from "./acts.mjs";

const asked = [], told = [];
const mode = ["legacy", "auto"].includes(play.mode) ? play.mode : { pin: play.mode };
const client = new Client(identity, { capabilities, versionNegotiation: { mode } });
for (const method of Object.keys(person)) {
    client.setRequestHandler(method, () => {
        asked.push(method);
        return person[method]();
    });
}
client.setNotificationHandler("notifications/tools/list_changed", (notification) => void told.push(notification.method));

const transport = play.command
    ? new StdioClientTransport({ command: play.command[0], args: play.command.slice(1) })
    : new StreamableHTTPClientTransport(new URL(play.url));
await client.connect(transport);
const version = client.getNegotiatedProtocolVersion();
const server = client.getServerVersion()?.name ?? null;
const subscribe = version >= "2026" ? () => client.listen({ toolsListChanged: true }) : undefined;
const found = await perform({ client, asked, told, subscribe, call: (params, options) => client.callTool(params, options) });
if (version < "2026") await transport.terminateSession?.();
await client.close();
report({ ...found, version, server });
