// llama.cpp as node-llama-cpp ships it, as a peer for bench/compare: the arguments and the JSON of `carat bench`.
//
// usage: node bench/peers/node_llama_cpp.mjs MODEL [--prefill N,...] [--depth N,...] [--decode N] [--threads N] [--json]
//
// The package is looked for in the folder NODE_LLAMA_CPP, or the current one (npm install node-llama-cpp). If it is not
// there, or MODEL is not a GGUF file, the exit code is 69: see protocol.py.
import {createRequire} from "node:module";
import {pathToFileURL} from "node:url";

function absent(reason) {
    console.error(reason);
    process.exit(69);
}

const folder = process.env.NODE_LLAMA_CPP ?? process.cwd();
let getLlama;
try {
    ({getLlama} = await import(pathToFileURL(createRequire(folder + "/").resolve("node-llama-cpp")).href));
} catch (error) {
    absent(`there is no node-llama-cpp in ${folder}: ${error.message.split("\n")[0]}`);
}
const [model_path, ...words] = process.argv.slice(2);
if (!model_path.endsWith(".gguf")) absent(`${model_path} is not a GGUF file`);
const options = {prefill: "128,512", depth: "0", decode: "24", threads: "2"};
for (let i = 0; i < words.length; ++i) {
    const name = words[i].replace(/^--/, "");
    if (name in options) options[name] = words[++i];
    else if (name === "reps") ++i;  // one repetition: compare makes the rounds
}
const list = (text) => text.split(",").map(Number);
const lengths = list(options.prefill).filter((n) => n > 0);
const depths = list(options.depth).sort((a, b) => a - b);
const decoded = Number(options.decode);
const seconds = () => performance.now() / 1000;

const start = seconds();
const llama = await getLlama({gpu: false, build: "never", skipDownload: true, maxThreads: Number(options.threads), logLevel: "error"});
const model = await llama.loadModel({modelPath: model_path, useMmap: true, defaultContextFlashAttention: true});
const load_s = seconds() - start;
const context = await model.createContext({
    contextSize: Math.max(...lengths, 32, ...depths.map((depth) => depth + decoded + 2)) + 64,
    batchSize: 512,
    threads: Number(options.threads),
    flashAttention: true,
});
const sequence = context.getSequence();

// Ids that repeat late; what they are does not matter to the time.
const tokens = (count) => Array.from({length: count}, (_, i) => (i * 7919 + 1000) % 200000);

// Seconds until the first token behind `count` is there, and from there to the `more`-th after it.
async function run(count, more) {
    await sequence.clearHistory();
    const begin = seconds();
    let first = 0, n = 0;
    for await (const _ of sequence.evaluate(tokens(count), {temperature: 0, yieldEogToken: true})) {
        if (n === 0) first = seconds();
        if (n++ === more) break;
    }
    return {first: first - begin, rest: seconds() - first};
}

await run(32, 0);
const report = {model: model_path, load_s, prefill: [], decode: []};
for (const count of lengths) report.prefill.push({tokens: count, tokens_per_s: count / (await run(count, 0)).first});
if (decoded > 0) {
    for (const depth of depths)
        report.decode.push({depth, tokens_per_s: decoded / (await run(Math.max(depth, 1), decoded)).rest});
}
console.log(JSON.stringify(report));
process.exit(0);
