// go-mysql as a peer of `binlog-engine bench peers`: reads a server's dump and counts the rows it decodes.
//
//	go-mysql-peer -host H -port P -user U -password PW -flavor mysql|mariadb -file F -offset N -rows ROWS
//
// Prints one JSON object: rows, and seconds from the first event to the last row that was asked for.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

func main() {
	host := flag.String("host", "127.0.0.1", "")
	port := flag.Uint("port", 3306, "")
	user := flag.String("user", "root", "")
	password := flag.String("password", "", "")
	flavor := flag.String("flavor", "mysql", "mysql or mariadb")
	file := flag.String("file", "", "where to start")
	offset := flag.Uint("offset", 4, "")
	wanted := flag.Int("rows", 0, "how many rows to read")
	flag.Parse()

	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4_200_000_002, Flavor: *flavor, Host: *host, Port: uint16(*port), User: *user, Password: *password,
		VerifyChecksum: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	defer syncer.Close()
	streamer, err := syncer.StartSync(mysql.Position{Name: *file, Pos: uint32(*offset)})
	if err != nil {
		log.Fatal(err)
	}
	start := time.Now()
	rows := 0
	for rows < *wanted {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		event, err := streamer.GetEvent(ctx)
		cancel()
		if err != nil {
			log.Fatal(err)
		}
		if changes, ok := event.Event.(*replication.RowsEvent); ok {
			switch event.Header.EventType {
			case replication.UPDATE_ROWS_EVENTv0, replication.UPDATE_ROWS_EVENTv1, replication.UPDATE_ROWS_EVENTv2,
				replication.MARIADB_UPDATE_ROWS_COMPRESSED_EVENT_V1:
				rows += len(changes.Rows) / 2 // before and after
			default:
				rows += len(changes.Rows)
			}
		}
	}
	json.NewEncoder(os.Stdout).Encode(map[string]any{"rows": rows, "seconds": time.Since(start).Seconds()})
}
