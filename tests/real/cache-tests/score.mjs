// Counts the results of the suite by group, and fails where the score is below what it was.
//
//   node score.mjs SUITE RESULTS.json FLOOR.json

import fs from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'

const [, , suite, resultsFile, floorFile] = process.argv
const load = async file => import(pathToFileURL(path.resolve(suite, file)))
const groups = (await load('tests/index.mjs')).default
const { determineTestResult, resultTypes } = await load('test-engine/lib/results.mjs')
const results = JSON.parse(fs.readFileSync(resultsFile, 'utf8'))
const floor = JSON.parse(fs.readFileSync(floorFile, 'utf8'))

const words = new Map([
  [resultTypes.pass, 'passed'],
  [resultTypes.fail, 'failed'],
  [resultTypes.optional_fail, 'not optimal'],
  [resultTypes.yes, 'yes'],
  [resultTypes.no, 'no']
])
const rows = []
const failures = []
const total = { required: [0, 0, 0], optimal: [0, 0, 0] }
for (const group of groups) {
  const row = { required: [0, 0, 0], optimal: [0, 0, 0] }
  for (const test of group.tests) {
    const kind = test.kind ?? 'required'
    if (test.browser_only || kind === 'check') continue
    // A test that could not be judged counts as neither passed nor failed.
    const word = words.get(determineTestResult(groups, test.id, results)) ?? 'not judged'
    const place = word === 'passed' ? 0 : word === 'not judged' ? 2 : 1
    row[kind][place] += 1
    total[kind][place] += 1
    if (place > 0) failures.push([kind, word, group.id, test.id, results[test.id]?.[1] ?? ''])
  }
  rows.push([group.name, row])
}

const line = (name, row) => `| ${name} | ${row.required.join(' / ')} | ${row.optimal.join(' / ')} |`
console.log('| group | required: passed / failed / not judged | optimal: passed / failed / not judged |')
console.log('|---|---|---|')
for (const [name, row] of rows) console.log(line(name, row))
console.log(line('**all**', total))
for (const failure of failures.sort()) console.log(failure.join('  '))

const { required, optimal } = total
console.log(`required: ${required[0]} passed, ${required[1]} failed; optimal: ${optimal[0]} passed`)
const isBelow = required[0] < floor.required_passed || required[1] > floor.required_failed ||
  optimal[0] < floor.optimal_passed
if (isBelow) {
  console.error(`below the floor of ${JSON.stringify(floor)}`)
  process.exit(1)
}
