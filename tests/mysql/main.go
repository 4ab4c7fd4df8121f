// The front of a database that logs people in as MySQL 8 does, by caching_sha2_password: go-mysql's server decides who may, a real
// MariaDB behind it answers the queries. Debian has no MySQL, and MariaDB no such login.
//
//	mysql -listen 127.0.0.1:3307 -behind 127.0.0.1:3306 -database shop -user news -password secret -certificate FILE -key FILE
//
// It prints a line for each login: "full" when the password itself was asked for, "cached" when a hash of it was known, "refused".
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/server"
)

var (
	listen      = flag.String("listen", "", "where it listens")
	behind      = flag.String("behind", "", "where the MariaDB listens")
	database    = flag.String("database", "", "the database there")
	user        = flag.String("user", "", "who may log in, here and there")
	password    = flag.String("password", "", "with which password")
	certificate = flag.String("certificate", "", "a PEM file")
	key         = flag.String("key", "", "a PEM file")
)

// account is the one user. The password is asked for only where the hash of an earlier login does not do.
type account struct{ asked bool }

func (*account) CheckUsername(name string) (bool, error) { return name == *user, nil }

func (a *account) GetCredential(name string) (string, bool, error) {
	a.asked = true
	return *password, name == *user, nil
}

// answers passes what is asked on to the MariaDB.
type answers struct{ line *client.Conn }

func (a answers) UseDB(name string) error { return a.line.UseDB(name) }

func (a answers) HandleQuery(query string) (*mysql.Result, error) {
	// MySQL has this variable, and MariaDB another one.
	if strings.HasPrefix(query, "SET SESSION max_execution_time = ") {
		return nil, nil
	}
	return a.line.Execute(query)
}

func (a answers) HandleFieldList(table, wildcard string) ([]*mysql.Field, error) {
	return a.line.FieldList(table, wildcard)
}

func (a answers) HandleStmtPrepare(query string) (int, int, interface{}, error) {
	statement, err := a.line.Prepare(query)
	if err != nil {
		return 0, 0, nil, err
	}
	return statement.ParamNum(), statement.ColumnNum(), statement, nil
}

func (a answers) HandleStmtExecute(context interface{}, _ string, args []interface{}) (*mysql.Result, error) {
	return context.(*client.Stmt).Execute(args...)
}

func (a answers) HandleStmtClose(context interface{}) error { return context.(*client.Stmt).Close() }

func (a answers) HandleOtherCommand(command byte, _ []byte) error {
	return mysql.NewError(mysql.ER_UNKNOWN_COM_ERROR, fmt.Sprintf("command %d is not known here", command))
}

func serve(line net.Conn, front *server.Server) {
	defer line.Close()
	back, err := client.Connect(*behind, *user, *password, *database)
	if err != nil {
		log.Fatal(err)
	}
	defer back.Close()
	who := &account{}
	session, err := server.NewCustomizedConn(line, front, who, answers{back})
	switch {
	case err != nil:
		fmt.Println("refused")
		return
	case who.asked:
		fmt.Println("full")
	default:
		fmt.Println("cached")
	}
	for !session.Closed() {
		if session.HandleCommand() != nil {
			return
		}
	}
}

func main() {
	flag.Parse()
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}
	front := server.NewServer("8.0.36", mysql.DEFAULT_COLLATION_ID, mysql.AUTH_CACHING_SHA2_PASSWORD, nil, &tls.Config{Certificates: []tls.Certificate{pair}})
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		log.Fatal(err)
	}
	for {
		line, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(line, front)
	}
}
