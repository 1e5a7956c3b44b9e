// A play by `@modelcontextprotocol/sdk`, the first generation of the TypeScript SDK, which knows the eras of `initialize`.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import {
    CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema, ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";

import { capabilities, identity, perform, person, play, report } from "./acts.mjs";

const asked = [], told = [];
const client = new Client(identity, { capabilities });
for (const schema of [CreateMessageRequestSchema, ElicitRequestSchema, ListRootsRequestSchema]) {
    client.setRequestHandler(schema, (request) => {
        asked.push(request.method);
        return person[request.method]();
    });
}
client.setNotificationHandler(ToolListChangedNotificationSchema, (notification) => void told.push(notification.method));

function open() {
    if (play.command) return new StdioClientTransport({ command: play.command[0], args: play.command.slice(1) });
    const url = new URL(play.url);
    return url.pathname.endsWith("/sse") ? new SSEClientTransport(url) : new StreamableHTTPClientTransport(url);
}

const transport = open();
const learn = transport.setProtocolVersion?.bind(transport);
let version = null;
transport.setProtocolVersion = (agreed) => {
    version = agreed; // not every transport remembers it
    learn?.(agreed);
};
await client.connect(transport);
const found = await perform({ client, asked, told, call: (params, options) => client.callTool(params, undefined, options) });
await transport.terminateSession?.();
await client.close();
report({ ...found, version, server: client.getServerVersion().name });
