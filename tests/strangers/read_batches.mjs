// A reader of batches by somebody who has docs/batch-format.md and nothing else of Carnet: Node, no packages.
//
//   node read_batches.mjs FILE
//
// FILE is a JSON list of {groups, bytes}. Prints a line of JSON for each: what was read, or why it was refused.

import { readFileSync } from "node:fs";
import { Refused, readBatch } from "./batch.mjs";

function judge({ groups, bytes }) {
  try {
    const { times, values } = readBatch(Buffer.from(bytes, "hex"), groups);
    return { outcome: "accepted", times: times.map((each) => each.map(Number)), values: values.map((each) => each.map(String)) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { outcome: error.reason };
  }
}

for (const vector of JSON.parse(readFileSync(process.argv[2]))) console.log(JSON.stringify(judge(vector)));
