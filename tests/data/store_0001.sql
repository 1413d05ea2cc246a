-- A job store of version 0001, written by that version (commit 9718b2c): `sqlite3 jobs.sqlite3 .dump`.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE jobs (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	id TEXT NOT NULL, 
	status TEXT NOT NULL, 
	request JSON NOT NULL, 
	file_name TEXT NOT NULL, 
	size_bytes BIGINT NOT NULL, 
	created_at DATETIME NOT NULL, 
	started_at DATETIME, 
	completed_at DATETIME, 
	attempts INTEGER NOT NULL, 
	error JSON, 
	request_id TEXT, 
	CONSTRAINT uq_jobs_id UNIQUE (id), 
	CONSTRAINT ck_jobs_status_known CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')), 
	CONSTRAINT ck_jobs_attempts_counted CHECK (attempts >= 0)
);
INSERT INTO "jobs" VALUES(1,'job_000000000000000000000000','succeeded','{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"language": "de", "task": "transcribe", "beam_size": 5, "temperature": null, "initial_prompt": "Gr\u00fc\u00dfe; --", "hotwords": null, "vad_filter": true, "word_timestamps": false, "condition_on_previous_text": false}, "ignored": ["best_of"]}','Rede 0 ä.mp3',1000,'2026-11-20 08:00:00.250000','2026-11-20 08:01:00.250000','2026-11-20 08:02:00.250000',1,NULL,NULL);
INSERT INTO "jobs" VALUES(2,'job_000000000000000000000001','failed','{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"language": "de", "task": "transcribe", "beam_size": 5, "temperature": null, "initial_prompt": "Gr\u00fc\u00dfe; --", "hotwords": null, "vad_filter": true, "word_timestamps": true, "condition_on_previous_text": false}, "ignored": ["best_of"]}','Rede 1 ä.mp3',1001,'2026-11-20 08:00:01.250000','2026-11-20 08:01:00.250000','2026-11-20 08:03:00.250000',1,'{"code": "undecodable_media", "message": "No audio: ''\u00fc''.", "fix": "Send audio.", "param": "audio"}','request-1');
INSERT INTO "jobs" VALUES(3,'job_000000000000000000000002','cancelled','{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"language": "de", "task": "transcribe", "beam_size": 5, "temperature": null, "initial_prompt": "Gr\u00fc\u00dfe; --", "hotwords": null, "vad_filter": true, "word_timestamps": false, "condition_on_previous_text": false}, "ignored": ["best_of"]}','Rede 2 ä.mp3',1002,'2026-11-20 08:00:02.250000',NULL,'2026-11-20 08:04:00.250000',0,NULL,'request-2');
INSERT INTO "jobs" VALUES(4,'job_000000000000000000000003','running','{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"language": "de", "task": "transcribe", "beam_size": 5, "temperature": null, "initial_prompt": "Gr\u00fc\u00dfe; --", "hotwords": null, "vad_filter": true, "word_timestamps": true, "condition_on_previous_text": false}, "ignored": ["best_of"]}','Rede 3 ä.mp3',1003,'2026-11-20 08:00:03.250000','2026-11-20 08:06:00.250000',NULL,2,NULL,'request-3');
INSERT INTO "jobs" VALUES(5,'job_000000000000000000000004','queued','{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"language": "de", "task": "transcribe", "beam_size": 5, "temperature": null, "initial_prompt": "Gr\u00fc\u00dfe; --", "hotwords": null, "vad_filter": true, "word_timestamps": false, "condition_on_previous_text": false}, "ignored": ["best_of"]}','Rede 4 ä.mp3',1004,'2026-11-20 08:00:04.250000',NULL,NULL,1,NULL,'request-4');
INSERT INTO "jobs" VALUES(6,'job_000000000000000000000005','queued','{"model": "base", "use_gpu": true, "require_gpu": false, "options": {"language": "de", "task": "transcribe", "beam_size": 5, "temperature": null, "initial_prompt": "Gr\u00fc\u00dfe; --", "hotwords": null, "vad_filter": true, "word_timestamps": true, "condition_on_previous_text": false}, "ignored": ["best_of"]}','Rede 5 ä.mp3',1005,'2026-11-20 08:00:05.250000',NULL,NULL,0,NULL,'request-5');
CREATE INDEX ix_jobs_status_number ON jobs (status, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('jobs',6);
COMMIT;
